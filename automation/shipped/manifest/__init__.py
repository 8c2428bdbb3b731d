"""What stands in folders, entry by entry, with hashes: made before a backup, compared with what was restored.

Standard library only, Python 3.9 or later. Each call of the program prints one line of JSON;
`size` prints a number.

  make      write the manifest of folders; hashes of files that did not change are taken over
  listed    compare a manifest with a point as restic lists it (`ls --json` on stdin)
  draw      choose a sample of files that can be drawn again
  compare   compare restored files with the manifest
  size      how many bytes it takes to restore

A manifest is a file of JSON lines in the order of a walk, names sorted by bytes; a name that is no UTF-8
keeps its bytes as Python's surrogates. Memory grows with the largest folder, not with the number of files;
a listing alone takes two numbers a file. Nothing is opened but regular files.
"""

"""The commands people type; each module is one namespace of `./inv`."""

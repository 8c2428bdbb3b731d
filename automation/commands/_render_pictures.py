"""Terminal screens as SVG, with a person's own fixed-width font; nothing is fetched from anywhere."""

import io
import re

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from automation.commands._command import ROOT
from automation.commands._live import LiveView
from automation.commands._render_live import Words, draw

TEMPLATE = ROOT / "templates/pictures/terminal.svg"
HEIGHT = 24
_NORMAL = [
    (0x1C, 0x21, 0x28),
    (0xFF, 0x7B, 0x72),
    (0x56, 0xD3, 0x64),
    (0xE3, 0xB3, 0x41),
    (0x79, 0xC0, 0xFF),
    (0xD2, 0xA8, 0xFF),
    (0x76, 0xE3, 0xEA),
    (0xE6, 0xED, 0xF3),
]
THEME = TerminalTheme((0x16, 0x1B, 0x22), (0xE6, 0xED, 0xF3), _NORMAL)


def live_svg(view: LiveView, words: Words, title: str, *, width: int) -> str:
    """Draw one moment of a live view."""
    return _svg(draw(view, words, width=width, height=HEIGHT), title, width)


def screen_svg(shown: str, title: str, *, width: int) -> str:
    """Draw what a command showed on a terminal, its colours as they were."""
    return _svg(Text.from_ansi(shown), title, width)


def _svg(content: RenderableType, title: str, width: int) -> str:
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="standard"
    )
    console.print(content, soft_wrap=False)
    made = console.export_svg(title=title, theme=THEME, code_format=TEMPLATE.read_text(encoding="utf-8"))
    return "\n".join(line.rstrip() for line in re.sub(r"\n\s*\n", "\n", made).splitlines()) + "\n"

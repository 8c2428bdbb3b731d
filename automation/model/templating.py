"""Jinja2 with every variable required; the one place that renders templates."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(folder: Path, template: str, /, **values: object) -> str:
    """Render `folder/template`; HTML templates are escaped, an undefined name raises."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=".html" in template,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)

"""The collection of commands that `./inv` offers."""

from invoke import Collection

from automation.commands import dev

namespace = Collection(
    dev.test,
    dev=Collection(dev.lint),
)

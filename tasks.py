"""The collection of commands that `./inv` offers."""

from invoke import Collection

from automation.commands import backup, baseline, demo, dev, dr, env, lab, provision, run, schedule

namespace = Collection(
    demo.demo,
    dev.test,
    Collection.from_module(lab),
    Collection.from_module(env),
    Collection.from_module(provision),
    Collection.from_module(backup),
    Collection.from_module(baseline),
    Collection.from_module(dr),
    Collection.from_module(run),
    Collection.from_module(schedule),
    Collection("dev", dev.lint, dev.schemas, dev.campaign, dev.bundle, dev.pictures, dev.completion),
)

"""Recovery: from the catalog and a drill to a plan, and from what was seen to a verdict. Pure."""

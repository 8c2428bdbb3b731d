"""Commands about environments: begin one for servers that are there already."""

from invoke import Context

from automation.commands._command import command


@command(
    help={
        "name": "What the environment is called: a folder of inventories/ is made of that name.",
        "inventory": "The city's Ansible inventory: its files, by comma; INI, YAML, a plugin's or a program.",
        "config": "The ansible.cfg with which that inventory is read, if it needs one.",
        "user": "Whom SSH logs in as; without it, the inventory's ansible_user.",
        "key": "The private key of that user, where it lies.",
        "known_hosts": "The file of host keys, where it lies.",
    },
    leaves="perhaps environment.yml without services.yml; remove it and run it again",
)
def init(
    context: Context,
    name: str,
    inventory: str,
    config: str = "",
    user: str = "",
    key: str = "",
    known_hosts: str = "",
) -> None:
    """Begin an environment for servers that are there; writes two files with blanks, replaces none.

    The inventory is read through Ansible and stays where it is.
    Exit codes: 0 written, 2 faulty words or inventory, 4 there is such an environment already.
    """
    from automation.commands._new_environment import Wanted, begin

    begin(Wanted(name, tuple(inventory.split(",")), config, user, key, known_hosts))

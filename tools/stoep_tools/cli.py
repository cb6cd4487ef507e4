"""The one command, ``stoep``: finds a subcommand by its entry point and hands over.

Each package registers its subcommands in the entry-point group ``stoep.commands`` as a function
``main(arguments) -> exit code``; only the one that is called is imported, so that start-up stays
fast and no package knows another.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version

USAGE_ERROR = 2
# Not in the Debian package of the gateway.
_OF_THE_WHEEL = ("demo", "flash")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand named first in ``arguments``; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = {entry.name: entry for entry in entry_points(group="stoep.commands")}
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: stoep COMMAND ...\n\ncommands: " + ", ".join(sorted(commands)))
        print("\n'stoep COMMAND --help' tells more of each.")
        return 0 if arguments else USAGE_ERROR
    if arguments[0] == "--version":
        print(f"stoep {version('stoep')}")
        return 0
    name, *rest = arguments
    if name not in commands:
        if name in _OF_THE_WHEEL:
            print(
                f"stoep: {name!r} is not part of this package; pipx install 'stoep[{name}]'"
                " brings it",
                file=sys.stderr,
            )
            return USAGE_ERROR
        print(
            f"stoep: no command {name!r}; there are: " + ", ".join(sorted(commands)),
            file=sys.stderr,
        )
        return USAGE_ERROR
    run = commands[name].load()
    return int(run(rest))


if __name__ == "__main__":
    sys.exit(main())

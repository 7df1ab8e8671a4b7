"""`python -m peer.cli`: the command without an installed script."""

from peer.cli.main import main

if __name__ == "__main__":
    main()

"""`python -m controlplane` is the `gpuplane` command."""

from controlplane.cli.app import main

if __name__ == "__main__":
    main()

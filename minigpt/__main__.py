import sys

try:
    from .commands.main import main
except KeyboardInterrupt:  # while PyTorch is being imported
    sys.exit(130)

sys.exit(main())

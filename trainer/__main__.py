"""``python -m trainer``."""

import os
import sys

from trainer.cli.main import main

status = main()
if os.environ.get("RANK", "0") != "0":
    # Of several under torchrun, one that is done: gloo's threads have aborted the end of its interpreter now and then,
    # and torchrun ends the others with it. Nothing is left to do here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
sys.exit(status)

"""``python -m rmt_alpha`` is ``rmt-alpha``."""

from rmt_alpha.cli import main

raise SystemExit(main())

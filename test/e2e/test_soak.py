# SPDX-License-Identifier: GPL-2.0-or-later
"""The short form of soak.py; `make soak` is the long one."""

import soak


class Soak(soak.Soak):
    pass

"""Sleeps that libfaketime lets through: of Python 3.11's own it makes an invalid call.

``time.sleep`` asks the kernel for a moment of the monotonic clock, which libfaketime moves although that
clock is left right.
"""

import select
import time

time.sleep = lambda seconds, /: select.select([], [], [], float(seconds)) and None

"""One module for each function. `runtime` sets up what all of them need.

Importing creates no garbage, and searching for it takes a twentieth of the start. So this module turns the garbage
collector off, and `runtime`, the last slow import, turns it on.
"""

import gc

gc.disable()

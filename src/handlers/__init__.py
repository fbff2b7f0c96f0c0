"""One module for each function, and `runtime`, which all of them share.

The garbage collector takes 5 % of the start and finds nothing while modules are imported. So this module turns it off,
and `runtime`, the last slow import, turns it on.
"""

import gc

gc.disable()

"""One module for each function. `runtime` sets up what all of them need.

While they are imported nothing becomes garbage, and looking for it again and again takes a twentieth of the start.
`runtime`, the last import that takes time, turns the collector on again.
"""

import gc

gc.disable()

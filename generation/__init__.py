"""Text and images → images, on one loaded diffusion model.

A library of its own: it knows nothing of Discord, the database, asyncio or training. Its light modules
(`request`, `recipe`, `image_input`, `limits`) need only Pillow and msgspec, so that a bot process can
import them without torch. Import what you need from the module that holds it: this package imports nothing.
"""

import os

# Before torch loads OpenMP, which reads this once: threads that wait for each other sleep instead of spinning.
# Measured with the bundled model on 2 cores, one of them taken by another program: 0.5 to 1.5 s a picture,
# against 4 to 30 s when they spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

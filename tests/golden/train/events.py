"""Golden for tests/train/events.test.ts: an event file written by tensorboardX.
Made with tensorboardX 2.6.5:  python tests/golden/train/events.py tests/golden/train/tensorboardx.tfevents
"""
import glob, shutil, sys, tempfile
from unittest import mock
from tensorboardX import SummaryWriter

folder = tempfile.mkdtemp()
with mock.patch("time.time", return_value=1700000000.5):
    writer = SummaryWriter(folder)
    writer.add_scalar("train/loss", 8.317766, 1)
    writer.add_scalar("train/loss", 2.5, 300)
    writer.add_scalar("validation/Ελληνικά", -0.125, 70000)
    writer.close()
shutil.copy(glob.glob(f"{folder}/events.out.*")[0], sys.argv[1])

"""`python -m bot.worker`: the worker process. The bot starts it."""

from bot.worker.process import main

main()

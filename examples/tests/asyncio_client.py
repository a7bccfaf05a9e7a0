"""An asyncio client that knows nothing of Coronet: COUNT connections at once, each sends a
message of its own and wants it back.

Run by `echo.rs`: python3 asyncio_client.py HOST PORT COUNT. Prints how many were served.
"""

import asyncio
import sys


async def ask(host, port, number, all_open):
    reader, writer = await asyncio.open_connection(host, port)
    # Nobody speaks before everybody is connected: they are all open at once.
    await all_open.wait()
    message = b"client %d says hello\n" % number * (1 + number % 7)
    writer.write(message)
    writer.write_eof()
    answer = await reader.read(-1)
    writer.close()
    return answer == message


async def main():
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    all_open = asyncio.Barrier(count) if hasattr(asyncio, "Barrier") else Gate(count)
    answers = await asyncio.gather(*(ask(host, port, number, all_open) for number in range(count)))
    print(sum(answers))


class Gate:
    """What `asyncio.Barrier` does, before Python 3.11."""

    def __init__(self, count):
        self.missing = count
        self.is_open = asyncio.Event()

    async def wait(self):
        self.missing -= 1
        if self.missing == 0:
            self.is_open.set()
        await self.is_open.wait()


asyncio.run(main())

# An HL7 receiver by python-hl7, on a port: each message as one line of JSON on stdout,
# [control id, family, text of the last segment], and its own acknowledgement.

import asyncio
import json
import sys

import hl7
from hl7.mllp import start_hl7_server


async def serve(reader, writer):
    try:
        while not writer.is_closing():
            message = await reader.readmessage()
            pid = message.segment("PID")
            last = message[-1]
            print(json.dumps([
                str(message.segment("MSH")(10)),
                str(pid[5][0][0]),
                hl7.parse(str(message)).unescape(str(last[5])),
            ]), flush=True)
            writer.writemessage(message.create_ack())
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()


async def main():
    server = await start_hl7_server(serve, host="127.0.0.1", port=int(sys.argv[1]),
                                    encoding="utf-8", limit=1 << 24)
    print('"up"', flush=True)
    async with server:
        await server.serve_forever()


sys.stdout.reconfigure(encoding="utf-8")
asyncio.run(main())

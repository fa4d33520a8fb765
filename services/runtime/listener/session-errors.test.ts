import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { serve } from '../testing/harness.ts';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const [SETTINGS, GOAWAY, WINDOW_UPDATE] = [4, 7, 8];

function frame(type: number, payload = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  return Buffer.concat([head, payload]);
}

/** The codes of the GOAWAY frames that a connection gets for what it sends. */
async function faultsOf(address: string, ...frames: readonly Buffer[]): Promise<number[]> {
  const [host, port] = address.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => {});
  socket.write(Buffer.concat([Buffer.from(PREFACE), frame(SETTINGS), ...frames]));
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'close');
  const bytes = Buffer.concat(chunks);
  const codes: number[] = [];
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === GOAWAY) codes.push(bytes.readUInt32BE(at + 9 + 4));
  }
  return codes;
}

test('a peer hears which fault of its own ended the connection', async () => {
  const { server, stop } = await serve({});
  try {
    const most = frame(WINDOW_UPDATE, Buffer.from([0x7f, 0xff, 0xff, 0xff]));
    const flowControl = await faultsOf(server.address, most, most);
    assert.equal(flowControl[0], 3, `FLOW_CONTROL_ERROR first: ${flowControl.join()}`);
    const protocol = await faultsOf(server.address, frame(WINDOW_UPDATE, Buffer.alloc(4)));
    assert.equal(protocol[0], 1, `PROTOCOL_ERROR first: ${protocol.join()}`);
  } finally {
    await stop();
  }
});

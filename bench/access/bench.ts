import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { Authority } from '../../keys/certificates.ts';
import { changeKeyFile } from '../../keys/key-file.ts';
import { hashOf, makeKey } from '../../keys/key.ts';
import { v1 } from '../../proto/load.ts';
import type { Process } from '../../services/runtime/testing/processes.ts';
import { TOWER } from '../qdrant/corpus.ts';
import { drive, frame, LeanGrpc } from '../qdrant/load.ts';
import { cpuMicros, startQueryService } from '../query-service.ts';
import { BenchUsageError, median, type Bench, type Comparison } from '../report.ts';

const IN_FLIGHT = 8;
/** After so many calls all code is compiled. */
const WARM_UP_CALLS = 8_000;
const CALLS = 1_000;
/** Calls not counted, after another side had its turn. */
const LEAD_IN_CALLS = 50;
/** Each turn goes there and back, so that what drifts affects all sides alike. */
const TURNS = 15;
/** What is lost of the throughput, at most. */
const GOALS = { key: 0.1, jwt: 0.15 } as const;

const { Encode } = v1.QueryService.service;
const ISSUER = 'https://issuer.example';

/** One way to call the query service. */
interface Side {
  name: 'plain' | 'key' | 'jwt';
  process: Process;
  /** How it is called. */
  how: ConstructorParameters<typeof LeanGrpc>[1];
}

/** Compares calls in plain text without keys with calls over TLS with a key, and with a token, on connections that stay open. */
export const bench: Bench = {
  flags: { turns: { type: 'string' } },
  run: async (progress, { turns: asked = String(TURNS) }) => {
    const turns = Number(asked);
    if (!Number.isInteger(turns) || turns < 1)
      throw new BenchUsageError('--turns takes a whole number from 1');
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const sides: Side[] = [];
    const clients: LeanGrpc[] = [];
    try {
      progress('starting three query services');
      await startSides(folder, sides);
      const request = frame(Encode.requestSerialize({ texts: ['how do bees find their way home'] }));
      /** A service ends connections by which nothing comes for long, while another side has its turn on a slow machine. */
      const connect = (index: number): void => {
        const { process, how } = sides[index]!;
        if (clients[index]?.isClosed !== false) clients[index] = new LeanGrpc(process.address, how);
      };
      const call = async (index: number) => void (await clients[index]!.call(Encode.path, [request]));
      progress('warming up');
      for (const index of sides.keys()) {
        connect(index);
        await drive(() => call(index), 0, WARM_UP_CALLS, IN_FLIGHT);
      }
      const measured = sides.map(() => ({ micros: [] as number[], perSecond: [] as number[] }));
      for (let turn = 0; turn < turns; turn++) {
        progress(`turn ${turn + 1} of ${turns}`);
        const shift = sides.map((_, index) => (index + turn) % sides.length);
        for (const index of [...shift, ...shift.toReversed()]) {
          const side = sides[index]!;
          connect(index);
          await drive(() => call(index), 0, LEAD_IN_CALLS, IN_FLIGHT);
          const before = cpuOf(side);
          const { perSecond } = await drive(() => call(index), 0, CALLS, IN_FLIGHT);
          measured[index]!.micros.push((cpuOf(side) - before) / CALLS);
          measured[index]!.perSecond.push(perSecond);
        }
      }
      const comparisons = sides.slice(1).flatMap(({ name }, index): Comparison[] => {
        const goal = GOALS[name as keyof typeof GOALS];
        const what = name === 'key' ? 'TLS and a key' : 'TLS and a token';
        const [plain, ours] = [measured[0]!, measured[index + 1]!];
        const rate = ratio(ours.perSecond, plain.perSecond);
        const cost = ratio(ours.micros, plain.micros);
        const least = 1 - goal;
        return [
          {
            what: `calls a second with ${what}`,
            unit: '/s',
            ours: median(ours.perSecond),
            peer: median(plain.perSecond),
            ratio: rate,
            goal: { text: `at least ${least}`, met: rate >= least },
          },
          {
            what: `CPU of the service a call with ${what}`,
            unit: 'µs',
            ours: median(ours.micros),
            peer: median(plain.micros),
            ratio: cost,
            // So much more work is what a service that has nothing else to do loses so much throughput by.
            goal: { text: `at most ${(1 / least).toFixed(3)}`, met: cost <= 1 / least },
          },
        ];
      });
      return {
        parameters: {
          method: Encode.path,
          tower: TOWER,
          inFlight: IN_FLIGHT,
          warmUpCalls: WARM_UP_CALLS,
          callsPerTurn: 2 * CALLS,
          turns,
          peer: 'plain text, without keys',
          measured:
            'medians of the turns; ratios are medians of the ratios of each turn; the client shares the machine',
        },
        comparisons,
        details: { turns: sides.map(({ name }, index) => ({ name, ...measured[index] })) },
      };
    } finally {
      for (const client of clients) client.close();
      await Promise.all(sides.map(({ process }) => process.stop()));
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** The median of what each turn says, for two turns that are neighbours have the same neighbours. */
function ratio(ours: readonly number[], peer: readonly number[]): number {
  const pairs = ours.map((_, index) => index).filter((index) => index % 2 === 0);
  const sum = (values: readonly number[], at: number): number => values[at]! + values[at + 1]!;
  return median(pairs.map((at) => sum(ours, at) / sum(peer, at)));
}

function cpuOf({ process }: Side): number {
  const micros = cpuMicros(process.child.pid!);
  if (micros === undefined) throw new Error('this system does not tell the CPU time');
  return micros;
}

async function startSides(folder: string, sides: Side[]): Promise<void> {
  const authority = await Authority.make(30);
  const server = await authority.issue({ server: ['127.0.0.1'] });
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const tls = {
    SCALINGNOTE_TLS_CERT: file('server.pem', server.certificate),
    SCALINGNOTE_TLS_KEY: file('server.key', server.key),
  };
  const ca = authority.identity.certificate;
  const key = makeKey();
  const keys = join(folder, 'keys.json');
  await changeKeyFile(keys, () => [
    {
      id: key.id,
      name: 'bench',
      sha256: hashOf(key.text).toString('hex'),
      scopes: ['encode'],
      tenants: ['*'],
      collections: ['*'],
      createdAt: new Date().toISOString(),
    },
  ]);
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwks = file(
    'jwks.json',
    JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256' }] }),
  );
  const token = await new SignJWT({ scope: 'encode', tenants: ['*'], collections: ['*'] })
    .setProtectedHeader({ alg: 'RS256', kid: 'one' })
    .setIssuer(ISSUER)
    .setAudience('bench')
    .setSubject('bench')
    .setExpirationTime('1h')
    .sign(privateKey);
  const start = async (
    name: Side['name'],
    environment: Readonly<Record<string, string>>,
    how: Side['how'],
  ): Promise<void> => {
    const data = join(folder, name);
    mkdirSync(data);
    const process = await startQueryService(data, { OTEL_SDK_DISABLED: 'true', ...environment });
    sides.push({ name, process, how });
  };
  await start('plain', {}, {});
  await start(
    'key',
    { ...tls, SCALINGNOTE_KEYS: keys },
    { ca, headers: { authorization: `Bearer ${key.text}` } },
  );
  await start(
    'jwt',
    {
      ...tls,
      SCALINGNOTE_JWT_ISSUER: ISSUER,
      SCALINGNOTE_JWT_AUDIENCE: 'bench',
      SCALINGNOTE_JWT_JWKS: jwks,
    },
    { ca, headers: { authorization: `Bearer ${token}` } },
  );
}

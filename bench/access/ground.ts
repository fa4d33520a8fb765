import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { Authority } from '../../keys/certificates.ts';
import { changeKeyFile } from '../../keys/key-file.ts';
import { hashOf, makeKey } from '../../keys/key.ts';

const ISSUER = 'https://issuer.example';
const AUDIENCE = 'bench';

/** How a service asks who calls, and what its caller sends. */
interface Way {
  environment: Readonly<Record<string, string>>;
  headers: Readonly<Record<string, string>>;
}

/** What services need to ask their callers, and callers to answer. */
export interface Ground {
  tls: { ca: string; environment: Readonly<Record<string, string>> };
  key: Way;
  token: Way;
}

/** Makes certificates, a key and a token, each in files of a folder. */
export async function makeGround(folder: string): Promise<Ground> {
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const authority = await Authority.make(30);
  const server = await authority.issue({ server: ['127.0.0.1'] });
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
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256' };
  const token = await new SignJWT({ scope: 'encode', tenants: ['*'], collections: ['*'] })
    .setProtectedHeader({ alg: 'RS256', kid: 'one' })
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setSubject('bench')
    .setExpirationTime('1h')
    .sign(privateKey);
  return {
    tls: {
      ca: authority.identity.certificate,
      environment: {
        SCALINGNOTE_TLS_CERT: file('server.pem', server.certificate),
        SCALINGNOTE_TLS_KEY: file('server.key', server.key),
      },
    },
    key: { environment: { SCALINGNOTE_KEYS: keys }, headers: { authorization: `Bearer ${key.text}` } },
    token: {
      environment: {
        SCALINGNOTE_JWT_ISSUER: ISSUER,
        SCALINGNOTE_JWT_AUDIENCE: AUDIENCE,
        SCALINGNOTE_JWT_JWKS: file('jwks.json', JSON.stringify({ keys: [jwk] })),
      },
      headers: { authorization: `Bearer ${token}` },
    },
  };
}

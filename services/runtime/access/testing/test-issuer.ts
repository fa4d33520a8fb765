import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { SignJWT, type JWTHeaderParameters, type JWTPayload } from 'jose';

/** A key that an issuer signs with. */
export interface TestKey {
  kid: string;
  alg: string;
  privateKey: KeyObject;
  publicKey: KeyObject;
}

/** Makes a key for an algorithm. */
export function makeTestKey(kid: string, alg = 'ES256'): TestKey {
  const pair =
    alg === 'EdDSA'
      ? generateKeyPairSync('ed25519')
      : alg.startsWith('ES')
        ? generateKeyPairSync('ec', { namedCurve: alg === 'ES384' ? 'P-384' : 'P-256' })
        : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { kid, alg, ...pair };
}

/** Issues tokens in a test. */
export class TestIssuer {
  readonly name: string;
  readonly audience = 'scalingnote';
  keys: TestKey[];

  constructor(name: string, keys = [makeTestKey('one')]) {
    this.name = name;
    this.keys = keys;
  }

  /** What it publishes. */
  jwks(): string {
    const keys = this.keys.map(({ kid, alg, publicKey }) => ({
      ...publicKey.export({ format: 'jwk' }),
      kid,
      alg,
      use: 'sig',
    }));
    return JSON.stringify({ keys });
  }

  /** A good token with these claims besides; a claim that is `undefined` is left out. */
  token(claims: JWTPayload, key = this.keys[0]!, header: Partial<JWTHeaderParameters> = {}): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const all = { iss: this.name, aud: this.audience, sub: 'alice', iat: now, exp: now + 3600, ...claims };
    return new SignJWT(all)
      .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'at+jwt', ...header })
      .sign(key.privateKey);
  }
}

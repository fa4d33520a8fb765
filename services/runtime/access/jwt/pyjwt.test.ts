import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pino } from 'pino';
import { optionalTool } from '../../../../test/testing/optional-tool.ts';
import { Settings } from '../../config.ts';
import { ServiceError } from '../../errors.ts';
import { openAccess, type OpenAccess } from '../open.ts';

/**
 * Makes keys and tokens with PyJWT (https://pyjwt.readthedocs.io), as an issuer in Python does, and prints them: a set of
 * public keys, and tokens by the name of their algorithm.
 */
const ISSUER = `
import json, time
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

keys = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "PS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
algorithms = get_default_algorithms()
published = []
for name, key in keys.items():
    found = json.loads(algorithms[name].to_jwk(key.public_key()))
    published.append({**found, "kid": name, "use": "sig", "alg": name})
now = int(time.time())
claims = {"iss": "https://issuer.example", "aud": ["other", "scalingnote"], "sub": "alice", "iat": now, "exp": now + 3600}
claims.update(scope="openid search", tenants=["acme", "b*"], collections="wiki")

def sign(name, more={}):
    return jwt.encode({**claims, **more}, keys[name], algorithm=name, headers={"kid": name})

print(json.dumps({
    "jwks": {"keys": published},
    "good": {name: sign(name) for name in keys},
    "bad": {
        "expired": sign("RS256", {"exp": now - 3600}),
        "for others": sign("ES256", {"aud": "other"}),
        "of another issuer": sign("EdDSA", {"iss": "https://evil.example"}),
        "without a signature": jwt.encode(claims, None, algorithm="none", headers={"kid": "RS256"}),
        "with a secret": jwt.encode(claims, "a secret of thirty-two characters", algorithm="HS256", headers={"kid": "RS256"}),
        "not yet": sign("ES384", {"nbf": now + 3600}),
        "by another key": jwt.encode(claims, keys["PS256"], algorithm="PS256", headers={"kid": "RS256"}),
    },
}))
`;

const python = optionalTool('python-client', { modules: ['jwt', 'cryptography'] });
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-pyjwt-'));
let open: OpenAccess;
let made: { jwks: object; good: Record<string, string>; bad: Record<string, string> };

before(() => {
  if (python.path === undefined) return;
  made = JSON.parse(execFileSync(python.path, ['-c', ISSUER], { encoding: 'utf8' })) as typeof made;
  const jwks = join(folder, 'jwks.json');
  writeFileSync(jwks, JSON.stringify(made.jwks));
  const settings = { jwtIssuer: 'https://issuer.example', jwtAudience: 'scalingnote', jwtJwks: jwks };
  open = openAccess(Settings.parse(settings), pino({ level: 'silent' }));
});

after(() => {
  open?.close();
  rmSync(folder, { recursive: true });
});

test('tokens that PyJWT has made are taken, with what they allow', { skip: python.skip }, async () => {
  assert.equal(Object.keys(made.good).length, 5);
  for (const [name, token] of Object.entries(made.good)) {
    const { id, scopes, tenants, collections } = await open.access.callerOf('search', {
      authorization: `Bearer ${token}`,
    });
    assert.deepEqual([id, [...scopes]], ['alice', ['search']], name);
    assert.ok(tenants.has('acme') && tenants.has('bee') && !tenants.has('cat'), name);
    assert.ok(collections.has('wiki') && !collections.has('other'), name);
  }
});

test('tokens of PyJWT that say something else are refused', { skip: python.skip }, async () => {
  for (const [name, token] of Object.entries(made.bad)) {
    const asked = async () => open.access.callerOf('search', { authorization: `Bearer ${token}` });
    const reason = name === 'expired' ? 'CREDENTIAL_EXPIRED' : 'CREDENTIAL_INVALID';
    await assert.rejects(asked, (error) => error instanceof ServiceError && error.reason === reason, name);
  }
});

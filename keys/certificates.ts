import { webcrypto, X509Certificate as NodeCertificate } from 'node:crypto';
import { isIP } from 'node:net';
import type * as X509 from '@peculiar/x509';

/** A certificate and its private key, in PEM. */
export interface Identity {
  certificate: string;
  key: string;
}

/** Who a certificate is for. */
export type Purpose = { server: readonly string[] } | { client: string };

const DAY_MS = 24 * 3600 * 1000;
/** Clocks differ: a certificate is good a little before it is made. */
const SKEW_MS = 5 * 60 * 1000;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** An authority that certificates of a development machine come from. It is nobody's but this machine's. */
export class Authority {
  readonly identity: Identity;
  readonly #x509: typeof X509;
  readonly #keys: webcrypto.CryptoKeyPair;
  readonly #subject: string;
  readonly #days: number;

  private constructor(
    x509: typeof X509,
    keys: webcrypto.CryptoKeyPair,
    subject: string,
    days: number,
    identity: Identity,
  ) {
    this.#x509 = x509;
    this.#keys = keys;
    this.#subject = subject;
    this.#days = days;
    this.identity = identity;
  }

  /** Makes an authority whose certificates are good for so many days, as it is itself. */
  static async make(days: number): Promise<Authority> {
    const x509 = await load();
    const keys = await newKeys();
    const subject = 'CN=scalingnote development CA';
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: subject,
      keys,
      signingAlgorithm: ALGORITHM,
      ...validity(days),
      extensions: [
        // It signs certificates of servers and clients, and no other authority.
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const identity = { certificate: pem(certificate), key: await privatePem(keys) };
    return new Authority(x509, keys, subject, days, identity);
  }

  /** Makes a certificate. */
  async issue(purpose: Purpose): Promise<Identity> {
    const x509 = this.#x509;
    const keys = await newKeys();
    const isServer = 'server' in purpose;
    const names = isServer ? purpose.server : [];
    const certificate = await x509.X509CertificateGenerator.create({
      issuer: this.#subject,
      subject: new x509.Name([{ CN: [isServer ? names[0]! : purpose.client] }]).toString(),
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...validity(this.#days),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          isServer ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth,
        ]),
        ...(isServer
          ? [
              new x509.SubjectAlternativeNameExtension(
                names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
              ),
            ]
          : []),
        await x509.AuthorityKeyIdentifierExtension.create(this.#keys.publicKey),
      ],
    });
    return { certificate: pem(certificate), key: await privatePem(keys) };
  }
}

function validity(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - SKEW_MS), notAfter: new Date(now + days * DAY_MS) };
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

/** As Node writes it, which also shows that Node can read it. */
function pem(certificate: X509.X509Certificate): string {
  return new NodeCertificate(Buffer.from(certificate.rawData)).toString();
}

async function privatePem({ privateKey }: webcrypto.CryptoKeyPair): Promise<string> {
  const bytes = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey));
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`;
}

/**
 * Loads the library where certificates are made, and nowhere else. A part of it asks for metadata that compilers write
 * for decorators, which it was built without: there are none.
 */
async function load(): Promise<typeof X509> {
  if (!('getMetadata' in Reflect)) {
    Object.assign(Reflect, {
      getMetadata: () => undefined,
      getOwnMetadata: () => undefined,
      defineMetadata: () => {},
    });
  }
  const x509 = await import('@peculiar/x509');
  x509.cryptoProvider.set(webcrypto as never);
  return x509;
}

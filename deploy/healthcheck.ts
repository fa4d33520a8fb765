import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request as plain } from 'node:http';
import { request as secure } from 'node:https';
import type { TLSSocket } from 'node:tls';

/** A service that takes longer has failed. Shorter than the time that Docker gives this process. */
const TIMEOUT_MS = 3000;

// Asks the service at an address (host:port) for its health. Works for either service. Exit 0: it serves.
const [address = ''] = process.argv.slice(2);
try {
  const health = await ask(address);
  console.log(health);
  process.exitCode = health === 'SERVING' ? 0 : 1;
} catch (error) {
  console.log((error as Error).message);
  process.exitCode = 1;
}

/**
 * Over TLS where the settings of the service have a certificate. That is for the names of the service, and not for the
 * loopback address that is asked here, so the certificate has to be that very one. A service that asks clients for a
 * certificate gets that of `SCALINGNOTE_CLIENT_CERT` and `SCALINGNOTE_CLIENT_KEY`.
 */
function ask(at: string): Promise<string> {
  const own = ownCertificates().map((path) => new X509Certificate(readFileSync(path)).fingerprint256);
  const { SCALINGNOTE_CLIENT_CERT: cert = '', SCALINGNOTE_CLIENT_KEY: key = '' } = process.env;
  return new Promise((resolve, reject) => {
    const options = { signal: AbortSignal.timeout(TIMEOUT_MS), agent: false } as const;
    const call =
      own.length === 0
        ? plain(`http://${at}/healthz`, options)
        : secure(`https://${at}/healthz`, {
            ...options,
            rejectUnauthorized: false,
            ...(cert !== '' && { cert: readFileSync(cert) }),
            ...(key !== '' && { key: readFileSync(key) }),
          });
    call.on('error', reject);
    call.on('response', (response) => {
      const { fingerprint256 } =
        own.length === 0 ? {} : ((response.socket as TLSSocket).getPeerX509Certificate() ?? {});
      if (own.length > 0 && !own.includes(fingerprint256 ?? '')) {
        reject(new Error('somebody else answers: the certificate is not the one of this service'));
        return;
      }
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve(String((JSON.parse(text) as { status?: unknown }).status));
        } catch {
          reject(new Error(`status ${response.statusCode}, and no health`));
        }
      });
    });
    call.end();
  });
}

/** Files of the service's certificates, as its environment or its configuration file names them. */
function ownCertificates(): string[] {
  const { SCALINGNOTE_TLS_CERT: named, SCALINGNOTE_CONFIG: path } = process.env;
  const file = path ? (JSON.parse(readFileSync(path, 'utf8')) as { tlsCert?: string | string[] }) : {};
  const tlsCert = named || file.tlsCert || [];
  return typeof tlsCert === 'string' ? tlsCert.split(',').map((each) => each.trim()) : tlsCert;
}

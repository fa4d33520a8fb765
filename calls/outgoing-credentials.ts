import { rootCertificates } from 'node:tls';
import { credentials, experimental, type ChannelCredentials } from '@grpc/grpc-js';
import { LOOK_EVERY_MS, type OutgoingTls } from './outgoing-tls.ts';

/** How a client of gRPC speaks TLS with these files. Each new connection uses them as they are. */
export function reloadingCredentials(tls: OutgoingTls): ChannelCredentials {
  const { ca, cert } = tls.texts;
  if (!ca && !cert) return credentials.createSsl();
  const provider = new FilesProvider(tls);
  return experimental.createCertificateProviderChannelCredentials(provider, cert ? provider : null);
}

type Provider = Parameters<typeof experimental.createCertificateProviderChannelCredentials>[0];
type CaListener = Parameters<Provider['addCaCertificateListener']>[0];
type IdentityListener = Parameters<Provider['addIdentityCertificateListener']>[0];

/** Tells channels what the files hold, now and when they change. */
class FilesProvider implements Provider {
  readonly #tls: OutgoingTls;
  readonly #caListeners = new Set<CaListener>();
  readonly #identityListeners = new Set<IdentityListener>();
  #version: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(tls: OutgoingTls) {
    this.#tls = tls;
    this.#version = tls.version;
  }

  addCaCertificateListener(listener: CaListener): void {
    this.#caListeners.add(listener);
    this.#watch();
    process.nextTick(() => this.#tellCa(listener));
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.#caListeners.delete(listener);
    this.#watch();
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.add(listener);
    this.#watch();
    process.nextTick(() => this.#tellIdentity(listener));
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.delete(listener);
    this.#watch();
  }

  #watch(): void {
    const isWanted = this.#caListeners.size + this.#identityListeners.size > 0;
    if (isWanted) this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
    else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  #look(): void {
    this.#tls.look();
    if (this.#tls.version === this.#version) return;
    this.#version = this.#tls.version;
    for (const listener of this.#caListeners) this.#tellCa(listener);
    for (const listener of this.#identityListeners) this.#tellIdentity(listener);
  }

  #tellCa(listener: CaListener): void {
    listener({ caCertificate: this.#tls.texts.ca ?? Buffer.from(rootCertificates.join('\n')) });
  }

  #tellIdentity(listener: IdentityListener): void {
    const { cert, key } = this.#tls.texts;
    listener(cert && key ? { certificate: cert, privateKey: key } : null);
  }
}

import { timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { KEY_PREFIX } from '../../../keys/key.ts';
import { deadlineOf } from '../admission/deadline.ts';
import { toServiceError, type ServiceError } from '../errors.ts';
import type { Arrival, Ticket } from '../listener/seams.ts';
import type { AuditLog } from './audit.ts';
import { ANYBODY, type Caller } from './caller.ts';
import { credentialDead, credentialMalformed, credentialMissing, credentialUnchecked } from './refusals.ts';
import { flowOf } from '../tenants/whose.ts';
import { checkRequest, checkScope, ruleOf, shown, type Named, type Need, type Rule } from './rules.ts';
import { needOfOther } from './routes.ts';

/** Most characters of an authorization header: keys are far below, and so are tokens without a photograph. */
const MAX_CREDENTIAL_CHARS = 8 * 1024;

/** What a call or request brings to say who calls. */
export interface Presented {
  /** Value of the header `authorization`. */
  authorization?: string | undefined;
  /** Subject of the client's certificate, which the handshake has verified. */
  certificate?: PeerSubject | undefined;
  /** When the caller stops waiting, as of `performance.now()`. @default never */
  deadline?: (() => number) | undefined;
}

/** Who makes a call that was let in. */
class Visitor {
  readonly caller: Caller;
  /** Address that the call comes from. */
  readonly peer: string;

  constructor(caller: Caller, peer: string) {
    this.caller = caller;
    this.peer = peer;
  }
}

/** The other end of a connection. */
interface Guest {
  /** `HOST:PORT`. */
  readonly peer: string;
  readonly address: string;
  /** The credential that came last and was good, and whose it is. */
  known?: { authorization: Uint8Array; caller: Caller };
}

/** Names in a client certificate. */
export interface PeerSubject {
  commonName: string;
  organizations: readonly string[];
}

/** Finds out who calls. */
export interface Identities {
  /**
   * Whose a key or token is: at once, but for a token that was not seen before.
   *
   * @param deadline - as of `performance.now()`
   * @throws {ServiceError} UNAUTHENTICATED; of a token, UNAVAILABLE or RESOURCE_EXHAUSTED as well; at once, or later
   */
  credential(credential: string, deadline: () => number): Caller | Promise<Caller>;
  /** `undefined` where certificates are no identity. */
  certificate(subject: PeerSubject): Caller | undefined;
}

/**
 * Who may do what. Every call and every other request passes {@link Access.arrive}, whatever it speaks, and each call
 * then a {@link Visit} in `handler.ts`. Without identities everybody may do everything.
 */
export class Access {
  readonly #identities: Identities | undefined;
  readonly #audit: AuditLog | undefined;
  readonly #methods = new Map<string, MethodAccess>();
  readonly #guests = new WeakMap<Socket, Guest>();
  readonly #log: Logger | undefined;
  /** The collection that a request means which names none, where a setting says it; else empty. */
  readonly defaultCollection: string;
  #saidUnchecked = false;

  constructor(
    identities: Identities | undefined,
    audit: AuditLog | undefined,
    log?: Logger,
    defaultCollection = '',
  ) {
    this.defaultCollection = defaultCollection;
    this.#identities = identities;
    this.#audit = audit;
    this.#log = log;
  }

  /** Whether callers need a credential. */
  get asks(): boolean {
    return this.#identities !== undefined;
  }

  /** Whether calls are written down. */
  get audits(): boolean {
    return this.#audit !== undefined;
  }

  /** What a method asks of its callers. @throws {StartError} where it declares no scope */
  method(path: string): MethodAccess {
    const method = new MethodAccess(this, path, ruleOf(path));
    this.#methods.set(path, method);
    return method;
  }

  /**
   * Looks at a call or another request before anything of its body is read: who makes it, and whether that one may.
   * What it is about is in the body, and {@link Visit.check} looks at that.
   *
   * @returns at once, but for a token that was not seen before
   * @throws {ServiceError} UNAUTHENTICATED, PERMISSION_DENIED; at once, or later
   */
  arrive({ protocol, method: path, headers, socket }: Arrival): Ticket | Promise<Ticket> {
    const method = this.#methods.get(path);
    const need = method?.rule.need ?? needOfOther(protocol, path);
    const guest = this.#guest(socket);
    const { peer } = guest;
    let caller: Caller | undefined;
    const admit = (found: Caller): Ticket => {
      caller = found;
      checkScope(caller, need, path.slice(1));
      // Where nobody is asked, nothing reads who was let in.
      if (method && (this.asks || this.audits)) {
        return { visitor: new Visitor(caller, peer), flow: flowOf(caller, guest.address) };
      }
      if (need !== 'open') this.audit(path, caller, peer, {}, undefined);
      return {};
    };
    const refuse = (error: unknown): never => {
      this.audit(path, caller, peer, {}, toServiceError(error));
      throw error;
    };
    try {
      const found = this.#callerAt(guest, need, {
        authorization: headers.authorization,
        certificate: subjectOf(socket),
        deadline: () => deadlineOf(headers, performance.now()),
      });
      return found instanceof Promise ? found.then(admit).catch(refuse) : admit(found);
    } catch (error) {
      return refuse(error);
    }
  }

  #guest(socket: Socket): Guest {
    let guest = this.#guests.get(socket);
    if (!guest) {
      const address = String(socket.remoteAddress);
      guest = { peer: `${address}:${socket.remotePort}`, address };
      this.#guests.set(socket, guest);
    }
    return guest;
  }

  /**
   * {@link callerOf}, for less: a connection sends the same credential with each call, and to look it up by its hash takes a
   * tenth of a call. It is compared in constant time with the one that came before.
   */
  #callerAt(guest: Guest, need: Need, presented: Presented): Caller | Promise<Caller> {
    const { authorization } = presented;
    if (authorization === undefined || need === 'open' || !this.#identities) {
      return this.callerOf(need, presented);
    }
    const bytes = Buffer.from(authorization);
    const { known } = guest;
    const isSame =
      known?.authorization.length === bytes.length && timingSafeEqual(known.authorization, bytes);
    if (isSame && known.caller.death(Date.now()) === undefined) return known.caller;
    delete guest.known;
    const found = this.callerOf(need, presented);
    if (!(found instanceof Promise)) guest.known = { authorization: new Uint8Array(bytes), caller: found };
    return found;
  }

  /** Who calls: see {@link Identities.credential}. @throws {ServiceError} UNAUTHENTICATED and others; at once, or later */
  callerOf(need: Need, { authorization, certificate, deadline }: Presented): Caller | Promise<Caller> {
    if (need === 'open') return ANYBODY;
    if (!this.#identities) {
      if (authorization !== undefined) this.#unchecked(authorization);
      return ANYBODY;
    }
    if (authorization !== undefined) {
      return this.#identities.credential(bearer(authorization), deadline ?? (() => Infinity));
    }
    const caller = certificate && this.#identities.certificate(certificate);
    if (!caller) throw credentialMissing();
    return caller;
  }

  /**
   * Somebody sends a credential to a service that asks for none. A key is for us, so it is refused; what else there is may
   * be for a proxy before us, and the log says once that it counts for nothing here.
   *
   * @throws {ServiceError} UNAUTHENTICATED
   */
  #unchecked(authorization: string): void {
    if (authorization.slice(0, MAX_CREDENTIAL_CHARS).includes(` ${KEY_PREFIX}`)) throw credentialUnchecked();
    if (this.#saidUnchecked) return;
    this.#saidUnchecked = true;
    this.#log?.warn(
      'a caller sends a header "authorization", and this service checks none: it has no --keys',
    );
  }

  /** Writes down what became of a call, where that is asked for. */
  audit(
    what: string,
    caller: Caller | undefined,
    peer: string | undefined,
    named: Named,
    error: ServiceError | undefined,
  ): void {
    this.#audit?.write(what, caller, peer, named, error);
  }
}

/** What a method asks of its callers. */
export class MethodAccess {
  readonly access: Access;
  readonly path: string;
  readonly rule: Rule;

  constructor(access: Access, path: string, rule: Rule) {
    this.access = access;
    this.path = path;
    this.rule = rule;
  }

  /** A call came in. @returns `undefined` where everybody may do everything and nothing is written down */
  begin({
    head,
  }: {
    getPath(): string;
    readonly head?: { readonly visitor?: object | undefined };
  }): Visit | undefined {
    if (!this.access.asks && !this.access.audits) return undefined;
    return new Visit(this, head?.visitor instanceof Visitor ? head.visitor : undefined);
  }
}

/** A call under the rules of its method: {@link admit} comes first, {@link end} last. */
export class Visit {
  readonly #of: MethodAccess;
  readonly #visitor: Visitor | undefined;
  #caller: Caller | undefined;
  #named: Named = {};

  constructor(of: MethodAccess, visitor: Visitor | undefined) {
    this.#of = of;
    this.#visitor = visitor;
  }

  /** Who calls; `undefined` before {@link admit}. */
  get caller(): Caller | undefined {
    return this.#caller;
  }

  /** Whether {@link Access.arrive} has let the call in. @throws {ServiceError} where not */
  admit(): void {
    const { access } = this.#of;
    if (!this.#visitor && access.asks) throw credentialMissing();
    this.#caller = this.#visitor?.caller ?? ANYBODY;
  }

  /** Compares a request, or a message of a stream, with what the caller may do. @throws {ServiceError} where not */
  check<Request extends object>(request: Request): Request {
    this.still();
    const { rule, access } = this.#of;
    const named = checkRequest(this.#caller!, rule, request, access.defaultCollection);
    // Of a stream, the first message that names something says what the stream is about.
    this.#named = { ...named, ...this.#named };
    return request;
  }

  /** @throws {ServiceError} where the credential has expired, or was revoked, since the call began */
  still(): void {
    const caller = this.#caller!;
    const death = caller.death(Date.now());
    if (death !== undefined) throw credentialDead(caller, death);
  }

  /** The same function, which ends with an error once the credential does not work any more. */
  whileValid<Message>(write: (message: Message) => Promise<void>): (message: Message) => Promise<void> {
    return async (message) => {
      this.still();
      await write(message);
    };
  }

  /** What of an answer the caller may see. */
  shown<Response>(response: Response): Response {
    return shown(this.#caller!, this.#of.rule, response);
  }

  /** The call has ended. @param error - absent where it succeeded */
  end(error?: ServiceError): void {
    const { access, path } = this.#of;
    access.audit(path, this.#caller, this.#visitor?.peer, this.#named, error);
  }
}

const subjects = new WeakMap<Socket, PeerSubject | undefined>();

/** Names in the certificate of a connection's client; read once, for it costs more than a search. */
function subjectOf(socket: Socket): PeerSubject | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  if (!subjects.has(socket)) {
    const { subject } = socket.getPeerCertificate();
    const [commonName] = listed(subject?.CN);
    subjects.set(
      socket,
      commonName === undefined ? undefined : { commonName, organizations: listed(subject?.O) },
    );
  }
  return subjects.get(socket);
}

function listed(value: string | string[] | undefined): string[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

function bearer(authorization: string): string {
  if (authorization.length > MAX_CREDENTIAL_CHARS) {
    throw credentialMalformed(`has more than ${MAX_CREDENTIAL_CHARS} characters`);
  }
  const credential = /^bearer +(?<credential>[!-~]+) *$/i.exec(authorization)?.groups?.['credential'];
  if (credential === undefined) throw credentialMalformed('is not of the form "Bearer CREDENTIAL"');
  return credential;
}

import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Metadata } from '@grpc/grpc-js';
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

/** Carries the name of a call from its arrival to its handler; what a client sends by it is overwritten. */
const ADMITTED = 'x-scalingnote-admitted';

/** A call that was let in. */
export interface Admitted {
  caller: Caller;
  /** Address that it comes from. */
  peer: string;
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
  /** Who makes the calls that are under way, by the name that each got. */
  readonly #admitted = new Map<string, Admitted>();
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
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    let caller: Caller | undefined;
    const admit = (found: Caller): Ticket => {
      caller = found;
      checkScope(caller, need, path.slice(1));
      // Where nobody is asked, nothing reads who was let in.
      if (method && (this.asks || this.audits)) return this.#admit({ caller, peer });
      if (need !== 'open') this.audit(path, caller, peer, {}, undefined);
      return {};
    };
    const refuse = (error: unknown): never => {
      this.audit(path, caller, peer, {}, toServiceError(error));
      throw error;
    };
    try {
      const found = this.callerOf(need, {
        authorization: headers.authorization,
        certificate: subjectOf(socket),
        deadline: () => deadlineOf(headers, performance.now()),
      });
      return found instanceof Promise ? found.then(admit).catch(refuse) : admit(found);
    } catch (error) {
      return refuse(error);
    }
  }

  /** A name that nobody can guess leads the call to who makes it, whatever the protocol carries it by. */
  #admit(admitted: Admitted): Ticket {
    const name = randomUUID();
    this.#admitted.set(name, admitted);
    return {
      metadata: { [ADMITTED]: name },
      flow: flowOf(admitted.caller, addressOf(admitted.peer)),
      done: () => void this.#admitted.delete(name),
    };
  }

  /** Who makes a call that {@link arrive} has let in. */
  admitted(metadata: Metadata): Admitted | undefined {
    const [name] = metadata.get(ADMITTED);
    metadata.remove(ADMITTED);
    return name === undefined ? undefined : this.#admitted.get(String(name));
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
  begin(call: { readonly metadata: Metadata }): Visit | undefined {
    if (!this.access.asks && !this.access.audits) return undefined;
    return new Visit(this, call.metadata);
  }
}

/** A call under the rules of its method: {@link admit} comes first, {@link end} last. */
export class Visit {
  readonly #of: MethodAccess;
  readonly #admitted: Admitted | undefined;
  #caller: Caller | undefined;
  #named: Named = {};

  constructor(of: MethodAccess, metadata: Metadata) {
    this.#of = of;
    this.#admitted = of.access.admitted(metadata);
  }

  /** Who calls; `undefined` before {@link admit}. */
  get caller(): Caller | undefined {
    return this.#caller;
  }

  /** Whether {@link Access.arrive} has let the call in. @throws {ServiceError} where not */
  admit(): void {
    const { access } = this.#of;
    if (!this.#admitted && access.asks) throw credentialMissing();
    this.#caller = this.#admitted?.caller ?? ANYBODY;
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
    access.audit(path, this.#caller, this.#admitted?.peer, this.#named, error);
  }
}

/** `HOST:PORT` without the port. */
function addressOf(peer: string): string {
  return peer.slice(0, peer.lastIndexOf(':'));
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

import type { Metadata } from '@grpc/grpc-js';
import type { AuditLog } from './audit.ts';
import { ANYBODY, type Caller } from './caller.ts';
import { credentialDead, credentialMalformed, credentialMissing } from './refusals.ts';
import { checkRequest, checkScope, ruleOf, shown, type Named, type Need, type Rule } from './rules.ts';
import type { ServiceError } from '../errors.ts';

/** Most characters of an authorization header: a token with many claims is far below. */
const MAX_CREDENTIAL_CHARS = 8 * 1024;

/** What a call or request brings to say who calls. */
export interface Presented {
  /** Value of the header `authorization`. */
  authorization?: string | undefined;
  /** Subject of the client's certificate, which the handshake has verified. */
  certificate?: PeerSubject | undefined;
  /** Address of the caller, for the audit log. */
  peer?: string | undefined;
}

/** Names in a client certificate. */
export interface PeerSubject {
  commonName: string;
  organizations: readonly string[];
}

/** A call as grpc-js has it, and as other protocols make it. */
export interface AccessCall {
  readonly metadata: Metadata;
  getPeer?(): string;
  getAuthContext?(): {
    sslPeerCertificate?: { subject?: { CN?: string | string[]; O?: string | string[] } };
  };
}

/** Finds out who calls. */
export interface Identities {
  /** @throws {ServiceError} UNAUTHENTICATED */
  keyOrToken(credential: string): Caller | Promise<Caller>;
  /** `undefined` where certificates are no identity. */
  certificate(subject: PeerSubject): Caller | undefined;
}

/**
 * Who may do what. Every call of every protocol passes {@link MethodAccess}, every other request of HTTP
 * {@link Access.route}; without identities everybody may do everything.
 */
export class Access {
  readonly #identities: Identities | undefined;
  readonly #audit: AuditLog | undefined;

  constructor(identities: Identities | undefined, audit: AuditLog | undefined) {
    this.#identities = identities;
    this.#audit = audit;
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
    return new MethodAccess(this, path, ruleOf(path));
  }

  /**
   * Lets a request of HTTP pass that is no RPC.
   *
   * @throws {ServiceError} UNAUTHENTICATED, PERMISSION_DENIED
   */
  async route(need: Need, what: string, presented: Presented): Promise<Caller> {
    let caller: Caller | undefined;
    try {
      caller = await this.callerOf(need, presented);
      checkScope(caller, need, what);
      this.audit(what, caller, presented.peer, {}, undefined);
      return caller;
    } catch (error) {
      this.audit(what, caller, presented.peer, {}, error as ServiceError);
      throw error;
    }
  }

  /** Who calls. @throws {ServiceError} UNAUTHENTICATED */
  callerOf(need: Need, { authorization, certificate }: Presented): Caller | Promise<Caller> {
    if (!this.#identities || need === 'open') return ANYBODY;
    if (authorization !== undefined) return this.#identities.keyOrToken(bearer(authorization));
    const caller = certificate && this.#identities.certificate(certificate);
    if (!caller) throw credentialMissing();
    return caller;
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
  begin(call: AccessCall): Visit | undefined {
    if (!this.access.asks && !this.access.audits) return undefined;
    return new Visit(this, call);
  }
}

/** A call under the rules of its method: {@link admit} comes first, {@link end} last. */
export class Visit {
  readonly #of: MethodAccess;
  readonly #call: AccessCall;
  #caller: Caller | undefined;
  #named: Named = {};

  constructor(of: MethodAccess, call: AccessCall) {
    this.#of = of;
    this.#call = call;
  }

  /** Finds out who calls, and whether that one may call this method. @throws {ServiceError} where not */
  admit(): void | Promise<void> {
    const { access, rule } = this.#of;
    const found = access.callerOf(rule.need, presentedBy(this.#call));
    if (found instanceof Promise) return found.then((caller) => this.#welcome(caller));
    this.#welcome(found);
  }

  /** Compares a request, or a message of a stream, with what the caller may do. @throws {ServiceError} where not */
  check<Request extends object>(request: Request): Request {
    this.still();
    const named = checkRequest(this.#caller!, this.#of.rule, request);
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
    access.audit(path, this.#caller, this.#call.getPeer?.(), this.#named, error);
  }

  #welcome(caller: Caller): void {
    this.#caller = caller;
    checkScope(caller, this.#of.rule.need, this.#of.path.slice(1));
  }
}

function presentedBy(call: AccessCall): Presented {
  const [authorization, second] = call.metadata.get('authorization');
  if (second !== undefined) throw credentialMalformed('is sent twice');
  const certificate = subjectOf(call);
  return {
    ...(authorization === undefined ? {} : { authorization: String(authorization) }),
    ...(certificate && { certificate }),
  };
}

function subjectOf(call: AccessCall): PeerSubject | undefined {
  const subject = call.getAuthContext?.().sslPeerCertificate?.subject;
  const [commonName] = listed(subject?.CN);
  return commonName === undefined ? undefined : { commonName, organizations: listed(subject?.O) };
}

function listed(value: string | string[] | undefined): string[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

function bearer(authorization: string): string {
  if (authorization.length > MAX_CREDENTIAL_CHARS) {
    throw credentialMalformed(`has more than ${MAX_CREDENTIAL_CHARS} characters`);
  }
  const credential = /^bearer +(?<credential>[!-~]+) *$/i.exec(authorization)?.groups?.['credential'];
  if (credential === undefined) throw credentialMalformed('is not of the form "Bearer KEY"');
  return credential;
}

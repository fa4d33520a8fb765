import type { Any, Header, WireError } from './messages.ts';

/** `ClientCompatRequest`: one call that the suite wants made. */
export interface Ask {
  testName: string;
  protocol: string;
  compression: string;
  host: string;
  port: number;
  /** Of the server, where it speaks TLS. */
  serverTlsCert: Buffer;
  clientTlsCreds?: { cert: Buffer; key: Buffer } | null;
  /** 0 for none. */
  messageReceiveLimit: number;
  method: string;
  streamType: string;
  requestHeaders: Header[];
  requestMessages: Any[];
  timeoutMs?: number;
  requestDelayMs: number;
  cancel?: { beforeCloseSend?: object | null; afterCloseSendMs?: number; afterNumResponses?: number } | null;
}

/** `ClientResponseResult`: what came of it. */
export interface Outcome {
  responseHeaders: Header[];
  responseTrailers: Header[];
  payloads: object[];
  error?: WireError;
  numUnsentRequests?: number;
}

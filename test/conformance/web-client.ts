import { AsyncLocalStorage } from 'node:async_hooks';
import { fromBinary, fromJson, toBinary, toJson, type DescMessage } from '@bufbuild/protobuf';
import { WebClient, type CallOptions } from '../../clients/web/client.ts';
import { WebError } from '../../clients/web/errors.ts';
import type { Ask, Outcome } from './client-messages.ts';
import { type Any, type Header, type Suite } from './messages.ts';

/** What the fetch of a call sees: our web client has no words for headers, and keeps of details those that it knows. */
interface Seen {
  ask: Ask;
  headers: Header[];
  details: Any[];
  answer?: Response;
}

const seen = new AsyncLocalStorage<Seen>();
const { fetch: plain } = globalThis;
globalThis.fetch = async (input, init) => {
  const call = seen.getStore()!;
  const headers = new Headers(init?.headers);
  for (const { name, value } of call.ask.requestHeaders) for (const each of value) headers.append(name, each);
  // Calls of ours have a deadline always, and the suite has calls that want none.
  if (call.ask.timeoutMs === undefined) headers.delete('connect-timeout-ms');
  // It calls again where a service is unavailable, and the suite counts: what it hears then is the first answer.
  const response = (call.answer ??= await plain(input, { ...init, headers })).clone();
  call.headers = [...response.headers].map(([name, value]) => ({ name, value: value.split(/, */) }));
  call.details = detailsIn(await response.clone().text());
  return response;
};

/** Any method, by what the methods of our web client call. */
class SuiteClient extends WebClient {
  ask(path: string, request: object, options: CallOptions): Promise<object> {
    return this.call(path, request, options);
  }
}

/** Makes one call of the suite as our web client makes its own. */
export function callByWeb(suite: Suite, ask: Ask): Promise<Outcome> {
  const { registry } = suite;
  const type = (name: string): DescMessage => registry.getMessage(`connectrpc.conformance.v1.${name}`)!;
  const client = new SuiteClient(`http://${ask.host}:${ask.port}`);
  const call: Seen = { ask, headers: [], details: [] };
  return seen.run(call, async () => {
    const [packed] = ask.requestMessages;
    const request = type(`${ask.method}Request`);
    const json = toJson(request, fromBinary(request, packed!.value), { registry }) as object;
    const stop = new AbortController();
    if (ask.cancel) setTimeout(() => stop.abort(), ask.cancel.afterCloseSendMs ?? 0).unref();
    const options: CallOptions = { signal: stop.signal };
    if (ask.timeoutMs !== undefined) options.timeoutMs = ask.timeoutMs;
    const outcome: Outcome = { responseHeaders: [], responseTrailers: [], payloads: [] };
    try {
      const path = `connectrpc.conformance.v1.ConformanceService/${ask.method}`;
      const answer = await client.ask(path, json, options);
      const response = type(`${ask.method}Response`);
      // What the suite takes back is read by another library: by way of bytes.
      const bytes = toBinary(response, fromJson(response, answer as never, { registry }));
      const { payload } = suite
        .type<{ payload: object | null }>(`${ask.method}Response`)
        .deserialize(Buffer.from(bytes));
      outcome.payloads.push(payload ?? {});
    } catch (error) {
      if (!(error instanceof WebError)) throw error;
      const code = `CODE_${error.code.toUpperCase()}`;
      outcome.error = { code, message: error.message, details: call.details };
    }
    for (const { name, value } of call.headers) {
      const trailer = /^trailer-(.*)$/.exec(name)?.[1];
      if (trailer === undefined) outcome.responseHeaders.push({ name, value });
      else outcome.responseTrailers.push({ name: trailer, value });
    }
    return outcome;
  });
}

function detailsIn(body: string): Any[] {
  try {
    const { details = [] } = JSON.parse(body) as { details?: { type: string; value: string }[] };
    return details.map(({ type, value }) => ({
      type_url: `type.googleapis.com/${type}`,
      value: Buffer.from(value, 'base64'),
    }));
  } catch {
    return [];
  }
}

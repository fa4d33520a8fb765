import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import type { ClientOptions as ChannelOptions } from '@grpc/grpc-js';
import { tracingInterceptor } from './tracing-interceptor.ts';

export type { ChannelOptions };

/**
 * An idle connection says that it lives before a load balancer forgets it (60 s and more in the common ones), and a
 * peer that is gone or stopped is found within 25 s even where no call waits.
 */
const KEEPALIVE_TIME_MS = 20_000;
const KEEPALIVE_TIMEOUT_MS = 5_000;

/** A thousand hits with long texts are far below this. */
const MAX_RECEIVE_BYTES = 64 * 1024 * 1024;

/** A server that comes back is found at once; grpc-js would wait for up to two minutes. */
const RECONNECT_MIN_MS = 100;
const RECONNECT_MAX_MS = 250;

const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.max_receive_message_length': MAX_RECEIVE_BYTES,
  'grpc.initial_reconnect_backoff_ms': RECONNECT_MIN_MS,
  'grpc.max_reconnect_backoff_ms': RECONNECT_MAX_MS,
  // We retry ourselves: grpc-js knows neither other servers nor the budget.
  'grpc.enable_retries': 0,
};

/** A name that grpc-js resolves may lead to many servers, too. */
const ROUND_ROBIN: ChannelOptions = {
  'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
};

/** Where one connection leads. */
export interface Target {
  /** What grpc-js connects to. */
  target: string;
  /** `host:port` as the caller wrote it, where the target is one of the machines behind that name. */
  authority?: string;
}

/**
 * The options of a gRPC channel that every client of ours uses.
 *
 * @param options - the caller's own, which win
 */
export function channelOptions({ target, authority }: Target, options: ChannelOptions = {}): ChannelOptions {
  return {
    ...CHANNEL_OPTIONS,
    ...(isIP(hostOf(target)) === 0 && !isLoopback(target) && ROUND_ROBIN),
    // gRPC would send calls to this machine to the proxy of `grpc_proxy`, `https_proxy` or `http_proxy`, too.
    'grpc.enable_http_proxy': isLoopback(target) ? 0 : 1,
    ...(authority !== undefined && {
      'grpc.default_authority': authority,
      'grpc.ssl_target_name_override': hostOf(authority),
    }),
    ...options,
    interceptors: [tracingInterceptor(authority ?? target), ...(options.interceptors ?? [])],
  };
}

/** Networks that never leave this machine. The unspecified address leads to it, too, where one connects to it. */
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('0.0.0.0');
LOOPBACK.addAddress('::1', 'ipv6');
LOOPBACK.addAddress('::', 'ipv6');

/** Whether an address, with or without its port, leads to this machine. */
export function isLoopback(address: string): boolean {
  const host = hostOf(address);
  const family = isIP(host);
  if (family === 0) return /^(?:.+\.)?localhost\.?$/i.test(host);
  return LOOPBACK.check(host, family === 6 ? 'ipv6' : 'ipv4');
}

/** The host of `host:port`, without the brackets of an IPv6 address. A bare IPv6 address is its own host. */
function hostOf(address: string): string {
  if (isIP(address) !== 0) return address;
  const { host } = /^(?<host>.*?)(?::\d*)?$/.exec(address)!.groups!;
  return host!.replace(/^\[(.*)\]$/, '$1');
}

/** Variables that lead grpc-js to a proxy; there, names are the proxy's to resolve. */
const PROXY_VARIABLES = ['grpc_proxy', 'https_proxy', 'http_proxy'];

/**
 * Whether an address is a name behind which several machines may stand, so that we look it up and connect to each.
 * Names of this machine, of other schemes, and names that a proxy resolves are left to grpc-js.
 */
export function isName(address: string, options: ChannelOptions): boolean {
  const plain = /^(?<host>[^:/[\]]+):\d+$/.exec(address);
  if (!plain || isIP(plain.groups!['host']!) !== 0 || isLoopback(address)) return false;
  return options['grpc.enable_http_proxy'] === 0 || !PROXY_VARIABLES.some((name) => process.env[name]);
}

/** Every machine behind a name. @throws where the name is not known */
export async function machinesOf(authority: string): Promise<Target[]> {
  const port = authority.slice(authority.lastIndexOf(':') + 1);
  const found = await lookup(hostOf(authority), { all: true });
  return found.map(({ address, family }) => ({
    target: family === 6 ? `[${address}]:${port}` : `${address}:${port}`,
    authority,
  }));
}

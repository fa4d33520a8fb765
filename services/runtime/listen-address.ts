import { BlockList, isIP } from 'node:net';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

/** Why an address can't be bound, in one line. It parses the message, because grpc-js keeps no error code. */
export function bindFailure({ message }: Error, host: string, port: number, portSetting: string): string {
  if (message.includes('EADDRINUSE')) {
    return `port ${port} is busy: another process listens at ${authority(host, port)}; choose another with ${portSetting}`;
  }
  if (message.includes('EACCES')) {
    return `port ${port} needs privileges that this process does not have; choose a port above 1023 with ${portSetting}`;
  }
  return `can't listen at ${authority(host, port)}: ${message}`;
}

/** `host:port`, with an IPv6 address in brackets. */
export function authority(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether an address to listen at can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  if (family === 0) return host === 'localhost';
  return LOOPBACK.check(host, family === 6 ? 'ipv6' : 'ipv4');
}

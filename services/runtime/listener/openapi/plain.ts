import type { DescMethod } from '@bufbuild/protobuf';
import { registry } from '../json.ts';

/** A plain address of a method. */
export interface PlainAddress {
  /** `/v1/search`. */
  address: string;
  /** GET for what takes no request. */
  verb: 'GET' | 'POST';
  /** `/scalingnote.v1.QueryService/Search`. */
  path: string;
  method: DescMethod;
}

/** Methods whose address is not made of their name. */
const NAMES: Readonly<Record<string, string>> = {
  MeasureFamiliarity: 'familiarity',
  ListCollections: 'collections',
  ListAliases: 'aliases',
};

/** The plain addresses of those methods that have one message in each direction. @param paths of methods */
export function plainAddresses(paths: Iterable<string>): PlainAddress[] {
  return Array.from(paths, (path) => {
    const [, service = '', name] = path.split('/');
    const method = registry.getService(service)?.methods.find((one) => one.name === name);
    if (!method || method.methodKind !== 'unary') return [];
    const own = NAMES[method.name] ?? method.name.replaceAll(/(?!^)[A-Z]/g, '-$&').toLowerCase();
    const verb = method.input.fields.length === 0 ? ('GET' as const) : ('POST' as const);
    return [{ address: `/v1/${own}`, verb, path, method }];
  }).flat();
}

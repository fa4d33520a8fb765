import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

/**
 * Writes JSON Schemas for kubeconform: `KIND-GROUP-VERSION.json`, in lower case, as its `--schema-location` takes them.
 * Each refuses keys that the definition does not have.
 *
 *     node kubernetes-schemas.js OUT KUBERNETES KEDA PROMETHEUS_OPERATOR
 *
 * The last three are folders of the Go modules.
 */

interface Schema {
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  items?: Schema;
  type?: string | string[];
  format?: string;
  'x-kubernetes-group-version-kind'?: { group: string; version: string; kind: string }[];
  'x-kubernetes-preserve-unknown-fields'?: boolean;
  'x-kubernetes-int-or-string'?: boolean;
}

interface Crd {
  kind: string;
  spec: {
    group: string;
    names: { kind: string };
    versions: { name: string; schema: { openAPIV3Schema: Schema } }[];
  };
}

const [out, kubernetes, ...operators] = process.argv.slice(2) as [string, string, ...string[]];

/** Where the modules of the operators have their definitions. */
const CRD_FOLDERS = ['config/crd/bases', 'example/prometheus-operator-crd'];

const made = `${out}.making`;
mkdirSync(made, { recursive: true });
writeBuiltIn(join(kubernetes, 'api/openapi-spec/swagger.json'));
operators.forEach((operator, index) => writeCrds(join(operator, CRD_FOLDERS[index]!)));
renameSync(made, out);

function writeBuiltIn(file: string): void {
  const { definitions } = JSON.parse(readFileSync(file, 'utf8')) as { definitions: Record<string, Schema> };
  for (const [name, definition] of Object.entries(definitions)) {
    // Kubernetes takes a number where the definition of a quantity says text.
    if (name.endsWith('api.resource.Quantity')) definition.type = ['string', 'number'];
  }
  const strict = Object.fromEntries(
    Object.entries(definitions).map(([name, definition]) => [name, tighten(definition)]),
  );
  for (const [name, definition] of Object.entries(definitions)) {
    for (const { group, version, kind } of definition['x-kubernetes-group-version-kind'] ?? []) {
      if (definition.properties?.['spec'] === undefined && kind !== 'ConfigMap') continue;
      write(kind, group, version, { $ref: `#/definitions/${name}`, definitions: reachable(name, strict) });
    }
  }
}

/** The definitions that one leads to. */
function reachable(name: string, all: Record<string, Schema>): Record<string, Schema> {
  const found: Record<string, Schema> = {};
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (found[next]) continue;
    found[next] = all[next]!;
    const references = JSON.stringify(found[next]).matchAll(/"#\/definitions\/([^"]+)"/g);
    open.push(...[...references].map(([, reference]) => reference!));
  }
  return found;
}

function writeCrds(folder: string): void {
  for (const file of readdirSync(folder)) {
    const { kind, spec } = parse(readFileSync(join(folder, file), 'utf8')) as Crd;
    if (kind !== 'CustomResourceDefinition') continue;
    for (const { name, schema } of spec.versions) {
      write(spec.names.kind, spec.group, name, tighten(schema.openAPIV3Schema));
    }
  }
}

function write(kind: string, group: string, version: string, schema: object): void {
  // As kubeconform has it: the first word of the group alone.
  const parts = [kind, ...(group === '' ? [] : [group.split('.')[0]!]), version];
  writeFileSync(join(made, `${parts.join('-').toLowerCase()}.json`), JSON.stringify(schema));
}

/** The same schema, which refuses other keys than its own. */
function tighten(schema: Schema): Schema {
  const { properties, items, additionalProperties } = schema;
  const isEither = schema.format === 'int-or-string' || schema['x-kubernetes-int-or-string'] === true;
  const isOpen =
    schema['x-kubernetes-preserve-unknown-fields'] === true || additionalProperties !== undefined;
  return {
    ...schema,
    ...(isEither && { type: ['string', 'integer'] }),
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, property]) => [name, tighten(property)]),
      ),
      ...(!isOpen && { additionalProperties: false }),
    }),
    ...(items && { items: tighten(items) }),
    ...(typeof additionalProperties === 'object' && { additionalProperties: tighten(additionalProperties) }),
  };
}

/** A package of the wire contract, as protobufjs writes it in JSON: names are in lowerCamelCase. */
export interface ContractNamespace {
  nested?: Readonly<Record<string, ContractEntry>>;
}

/** A message, an enum, a service or a package: what is there says which. */
export interface ContractEntry extends ContractNamespace {
  fields?: Readonly<Record<string, ContractField>>;
  oneofs?: Readonly<Record<string, { oneof: readonly string[] }>>;
  /** Of an enum, by name. */
  values?: Readonly<Record<string, number>>;
  methods?: Readonly<Record<string, object>>;
}

/** A field of a message. */
export interface ContractField {
  id: number;
  /** A scalar type, or the name of a message or an enum as its package sees it. */
  type: string;
  rule?: string;
  /** Only in a map. */
  keyType?: string;
  /** What the proto says of it. */
  comment?: string;
  options?: Readonly<Record<string, unknown>>;
}

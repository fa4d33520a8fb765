declare module 'unbzip2-stream' {
  /** A stream in the style of Node 0.8: what is written comes out as `data`, at once. */
  interface Unbzip2 {
    on(event: 'data', listener: (chunk: Buffer) => void): this;
    on(event: 'error', listener: (error: Error) => void): this;
    write(chunk: Buffer): boolean;
    end(): void;
  }
  export default function unbzip2(): Unbzip2;
}

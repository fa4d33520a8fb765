/** What a source ended with that can't be read to its end. What came before it has been given out. */
export class BrokenSource extends Error {
  override readonly name = 'BrokenSource';

  /** Its packed bytes end too early. */
  static cut(packing: string): BrokenSource {
    return new BrokenSource(`unexpected end of file: its ${packing} data is cut off; fetch the file again`);
  }

  /** Something else comes after its packed bytes. */
  static followed(packing: string): BrokenSource {
    return new BrokenSource(`has bytes after its ${packing} data that are no ${packing} data; remove them`);
  }

  /** Its packed bytes are not what they were. */
  static damaged(packing: string, why: string): BrokenSource {
    return new BrokenSource(`its ${packing} data is damaged (${why}); fetch the file again`);
  }
}

import { OutgoingTls, TlsFileError, type TlsFiles, type TlsNames } from '../../../calls/outgoing-tls.ts';
import { ConfigError } from '../setting-types.ts';

/** Files of an outgoing connection that settings name. @throws {ConfigError} which names the setting */
export function outgoingTls(files: TlsFiles, names: Required<TlsNames>): OutgoingTls {
  try {
    return new OutgoingTls(files, names);
  } catch (error) {
    if (error instanceof TlsFileError) throw new ConfigError(error.message, { cause: error });
    throw error;
  }
}

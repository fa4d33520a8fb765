/**
 * Turns the telemetry of ONNX Runtime off. From version 1.29 on it writes a device id and a queue of events into the
 * home folder, and sends them to its maker, unless this variable is set before the library loads.
 *
 * The library reads the environment of the process, and `process.env` of a worker thread is a copy: the main thread has
 * to import this before it starts a worker that loads the library. Whoever sets the variable to "0" gets the telemetry.
 */
process.env['ORT_DISABLE_TELEMETRY'] ??= '1';

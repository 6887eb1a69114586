import { fileURLToPath } from 'node:url';

/** The folder that holds the .proto files: reflection and dynamic clients read them from there. */
export const protoRoot: string = fileURLToPath(new URL('.', import.meta.url));

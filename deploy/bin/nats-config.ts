import process from 'node:process';
import { loadPaths } from '@flotilla/config';
import { makeInstanceFolders } from '../src/instance-files.ts';
import { configureNats } from '../src/nats.ts';

// Writes the settings of the instance's NATS server and its address, for those who start it without the keeper (systemd).
process.umask(0o077);
const paths = loadPaths();
makeInstanceFolders(paths);
await configureNats(paths, `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/local/sbin:/usr/sbin:/sbin`);

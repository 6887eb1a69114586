export { addAddress, deleteAddress, type LinkAddress, listAddresses, type NewAddress } from './addresses.ts';
export {
  addBridge,
  addDummy,
  addVethPair,
  type BridgePortSettings,
  deleteLink,
  getLink,
  type Link,
  type LinkKey,
  type LinkSettings,
  listLinks,
  type NewLink,
  setBridgePort,
  setLink,
  type VethPair,
} from './links.ts';
export type { NetlinkRequest } from './message.ts';
export { deleteNeighbour, listNeighbours, type Neighbour, setNeighbour } from './neighbours.ts';
export { NetlinkSocket, type NetlinkSocketOptions } from './netlink-socket.ts';
export {
  createNetworkNamespace,
  insideNetworkNamespace,
  insideNewNetworkNamespace,
  ownNetworkNamespace,
} from './network-namespace.ts';
export { addRoute, deleteRoute, listRoutes, type Route } from './routes.ts';

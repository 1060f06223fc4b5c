/** For schemas: the form of a UUID in a path or body, so that Postgres is never asked for another. */
export const uuidPattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";
export const uuid = { type: "string", pattern: uuidPattern } as const;

/** Schemas that several services share. */
export const idParams = { type: "object", properties: { id: uuid } } as const;
export const pageQuery = { limit: { type: "integer", minimum: 1, maximum: 500, default: 100 }, offset: { type: "integer", minimum: 0, default: 0 } } as const;

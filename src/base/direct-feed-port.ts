/** Where the data plane tells preloads the ways to the pods behind a Service: at the address of the name server. */
export const directFeedPort = 15_053;

module.exports = {
  duely: {
    input: { target: "./out/openapi.json" },
    output: {
      target: "out/orval/duely.ts",
      schemas: "out/orval/model",
      client: "fetch",
      mode: "split",
      clean: true,
      baseUrl: process.env.DUELY_URL,
    },
  },
};

// Nothing is asked of another machine: no badge of an online validator.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#routes",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
